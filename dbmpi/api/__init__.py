"""dbmpi from Python: a trained model that predicts, and estimators as scikit-learn has them."""
