"""The documentation site: pages made from the code, and what MkDocs needs to build it."""
