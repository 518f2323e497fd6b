use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;

use crate::codec::Row;
use crate::schema::{DELETED, IS_NEWER, ITEM, KEY, NAMESPACE, VERSION};

/// On what an upsert's write depends.
pub(crate) enum Condition {
    /// Nothing is stored, or something with a lower version.
    Newer,
    /// What is stored is still this, which is not an item: everything by which one could become one is the
    /// same.
    Unchanged(Row),
}

impl Condition {
    pub(crate) fn of(&self, put: PutItemFluentBuilder, row: &Row) -> PutItemFluentBuilder {
        match self {
            Self::Newer => put
                .condition_expression(IS_NEWER)
                .expression_attribute_names("#namespace", NAMESPACE)
                .expression_attribute_names("#key", KEY)
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_values(":version", row[VERSION].clone()),
            Self::Unchanged(stored) => {
                let mut put = put;
                let mut terms = Vec::new();
                for name in [VERSION, ITEM, DELETED] {
                    put = put.expression_attribute_names(format!("#{name}"), name);
                    if let Some(value) = stored.get(name).cloned() {
                        terms.push(format!("#{name} = :{name}"));
                        put = put.expression_attribute_values(format!(":{name}"), value);
                    } else {
                        terms.push(format!("attribute_not_exists(#{name})"));
                    }
                }
                put.condition_expression(terms.join(" and "))
            }
        }
    }
}
