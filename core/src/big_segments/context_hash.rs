use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The name under which a store knows a context: standard base64, with padding, of the SHA-256 of its key.
///
/// ```
/// let hash = flagstore_core::context_hash("user-key");
/// assert_eq!(hash, "CEXjZY7cHJG/ydFy7q4+YEFwVrG3/pkJwA4FAjrbfx0=");
/// ```
#[must_use]
pub fn context_hash(context_key: &str) -> String {
    STANDARD.encode(Sha256::digest(context_key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash is part of the format: the Relay Proxy stores under exactly this.
    #[test]
    fn the_hash_is_pinned() {
        assert_eq!(context_hash("user1"), "CgQblGLKpKMbrDVn4Lbm/ZEAeH2yq0M9lvbReMq/zpA=");
        assert_eq!(context_hash(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}
