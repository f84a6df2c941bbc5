"""Reading of tables: their files, their libraries, and the words that their values are."""
