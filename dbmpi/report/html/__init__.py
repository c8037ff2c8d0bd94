"""The page as one file of HTML: blocks as markup, drawings as SVG, charts as numbers for its script."""
