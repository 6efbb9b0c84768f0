"""From git repositories, directories and uploads to snapshots: a Parquet row per text file."""
