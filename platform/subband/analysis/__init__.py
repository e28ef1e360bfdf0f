"""What a detector withstands, costs and shows: analyses of any detector of the platform, without Ray and without MLflow."""
