//! The policies that come with the binary.

/// A policy in the binary.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its name; `presets/NAME` includes it.
    pub name: &'static str,
    /// The file.
    pub policy: &'static str,
    /// Its cases.
    pub cases: &'static str,
}

macro_rules! shipped {
    ($($name:literal),+ $(,)?) => {
        /// All of them, in the order of their names.
        pub const SHIPPED: &[Shipped] = &[$(Shipped {
            name: $name,
            policy: include_str!(concat!("../../../policies/", $name, ".yml")),
            cases: include_str!(concat!("../../../policies/", $name, ".cases.yml")),
        }),+];
    };
}

shipped!("apt", "cargo", "default", "github-actions", "npm", "pip", "secrets");

/// What `run` uses when no policy is given.
pub const DEFAULT: &str = "default";

/// The one of this name.
pub fn find(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.name == name)
}
