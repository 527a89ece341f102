"""The model's arithmetic: what it is made of, where points lie, codes and answers."""
