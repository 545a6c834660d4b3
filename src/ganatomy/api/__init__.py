"""The public functions and results, which `import ganatomy` exposes; see docs/api.md."""
