//! Never unload the shared library: its worker threads may outlive a `dlclose`, and so may thread-locals of the
//! caller's threads.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS")
        .is_ok_and(|os| ["linux", "android", "freebsd"].contains(&&os[..]))
    {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
