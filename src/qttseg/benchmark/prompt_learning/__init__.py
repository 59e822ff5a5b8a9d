"""Methods that learn what a prompt means, compared as their paper does (arXiv 2403.09199), and what it leaves open."""
