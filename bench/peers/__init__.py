"""Other queues on PostgreSQL, through their public interfaces; they run in an environment of their own."""
