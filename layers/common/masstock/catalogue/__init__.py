"""What is known of image models: prices, sizes, ratios, retirement."""
