"""`python -m local.image_model --port 8081`."""

from local.image_model.server import main

if __name__ == "__main__":
    main()
