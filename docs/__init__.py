"""The course's site: `pages` writes what Sphinx reads, `conf` tells Sphinx how."""
