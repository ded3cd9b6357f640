"""The processes of one gateway on a machine.

- ``supervisor``: starts several workers; ``shared_directory``: their files; ``other_workers``: questions between them
- ``huge_pages``: the memory of a process"""
