//! CNodes: copying, moving, deleting and revoking capabilities (manual, chapter 3).
