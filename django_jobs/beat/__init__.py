"""Beat: fires periodic tasks when their moment has come."""
