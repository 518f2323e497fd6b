use flagstore_peers::data_system::WithSources;
use flagstore_peers::database::{Database, DatabaseKind};
use flagstore_peers::official::Official;
use flagstore_peers::peer::Peer;
use flagstore_peers::program::folder;
use flagstore_peers::relay::RelayProxy;
use flagstore_peers::rust::{Bare, UnderSdk};

/// A database, and all who have a store for it.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) database: Database,
    peers: Vec<Box<dyn Peer>>,
}

impl Setup {
    pub(crate) fn find(kind: DatabaseKind) -> Result<Self, String> {
        let (folder, database) = (folder()?, kind.find()?);
        let mut peers: Vec<Box<dyn Peer>> = vec![
            Box::new(Official::go(&folder)?),
            Box::new(Official::node(&folder)?),
            Box::new(Official::python(&folder)?),
            Box::new(RelayProxy::new(&folder)),
            Box::new(Bare),
            Box::new(UnderSdk),
            Box::new(WithSources),
        ];
        if Self::has(kind, "Java") {
            peers.insert(1, Box::new(Official::java(&folder)?));
        }
        Ok(Self { database, peers })
    }

    /// Whether this peer has a store for this database. Java's for DynamoDB is not where the others are.
    pub(crate) fn has(kind: DatabaseKind, peer: &str) -> bool {
        (kind, peer) != (DatabaseKind::DynamoDb, "Java")
    }

    pub(crate) fn peer(&self, name: &str) -> &dyn Peer {
        self.peers().find(|peer| peer.name() == name).unwrap()
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = &dyn Peer> {
        self.peers.iter().map(|peer| &**peer)
    }
}
