"""The features of the gateway, each in a folder of its own: ``order`` lists them,
``known`` has their rows, and ``page_paths`` the paths of pages to which several link."""
