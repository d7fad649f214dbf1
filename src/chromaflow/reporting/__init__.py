"""Everything that makes a page or a record for readers; nothing here decides anything."""
