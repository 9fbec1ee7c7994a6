"""What the pages ask of a run's Parquet files, by DuckDB: a page of rows or a few counts at a time."""
