"""The processes of one gateway on a machine.

- ``supervisor``: starts several workers; ``shared_directory``: their files; ``other_workers``: questions between them
- ``binding``: the listening sockets of a process, ``tls``: the certificates of its listeners, ``descriptors``: the
  limit on its files and connections, ``huge_pages``: its memory"""
