"""The smallest pieces of a page: headings, messages, choices, keys, and what stands in for them."""
