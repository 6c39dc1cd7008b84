//! Dependencies point one way: abi <- kernel core <- kernel; abi <- libd3os <- programs.

use super::{Findings, TidyError};
use crate::metadata::{Metadata, Package};
use crate::workshop::Workshop;

/// Which members a member may depend on. Whoever is not listed is a program.
const ALLOWED: [(&str, &[&str]); 16] = [
    ("d3os-abi", &[]),
    ("kernel-core", &["d3os-abi"]),
    ("kernel-x86_64", &["d3os-abi", "kernel-core"]),
    ("microkernel", &["d3os-abi", "kernel-core", "kernel-x86_64"]),
    // What the kernel's own root tasks share.
    ("kernel-workbench", &["libd3os"]),
    ("kernel-tests", &["kernel-workbench", "libd3os"]),
    ("kernel-bench", &["kernel-workbench", "libd3os"]),
    // A witness that shares nothing with the library.
    ("kernel-bench-witness", &["d3os-abi"]),
    ("libd3os-macros", &[]),
    // Its tests have its own simulator, and capabilities that must not get into an object.
    ("libd3os-object", &["libd3os", "libd3os-macros", "libd3os-object"]),
    // What measures it, beside others.
    ("libd3os-object-bench", &["libd3os-object", "pmem"]),
    ("libd3os", &["d3os-abi", "libd3os-macros", "libd3os-object"]),
    // What drivers of network cards and of virtio devices share.
    ("nic", &["libd3os"]),
    ("virtio", &["libd3os"]),
    ("boot-counter", &[]),
    ("xtask", &["libd3os"]),
];

/// A program uses the libraries, never the kernel and never another program: it calls those.
const PROGRAM_ALLOWED: &[&str] = &["libd3os", "libd3os-object", "nic", "virtio"];

/// Compares the workspace's graph with the table.
pub(crate) fn check(workshop: &Workshop) -> Result<Findings, TidyError> {
    Ok(workshop.metadata.packages.iter().flat_map(|p| wrong(&workshop.metadata, p)).collect())
}

fn wrong(metadata: &Metadata, package: &Package) -> Findings {
    let listed = ALLOWED.iter().find(|(name, _)| *name == package.name);
    let allowed = listed.map_or(PROGRAM_ALLOWED, |(_, allowed)| allowed);
    let to_members = package.dependencies.iter().filter(|other| {
        metadata.package(&other.name).is_some() && !allowed.contains(&other.name.as_str())
    });
    let mut findings: Findings = to_members
        .map(|other| format!("{} must not depend on {}", package.name, other.name))
        .collect();
    let bare = package.name == "d3os-abi";
    if bare && package.dependencies.iter().any(|other| other.kind.as_deref() != Some("dev")) {
        findings.push("d3os-abi must not depend on anything".to_owned());
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> Findings {
        let metadata: Metadata = serde_json::from_str(json).expect("metadata");
        metadata.packages.iter().flat_map(|package| wrong(&metadata, package)).collect()
    }

    fn package(name: &str, dependency: &str) -> String {
        format!(
            r#"{{"name":"{name}","manifest_path":"/{name}/Cargo.toml","targets":[],
                "dependencies":[{{"name":"{dependency}","kind":null}}]}}"#
        )
    }

    #[test]
    fn what_points_back_is_refused() {
        let packages = [
            package("d3os-abi", "serde"),
            package("kernel-core", "d3os-abi"),
            package("libd3os", "kernel-core"),
            package("shell", "libd3os"),
            package("console", "shell"),
        ];
        let json = packages.join(",");
        let json = format!(r#"{{"packages":[{json}]}}"#);
        assert_eq!(
            found(&json),
            [
                "d3os-abi must not depend on anything",
                "libd3os must not depend on kernel-core",
                "console must not depend on shell",
            ]
        );
    }
}
