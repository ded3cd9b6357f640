"""Finds the targets of a model's name and plans the attempts at them.

- ``router``: from a name to a plan
- ``target``: one model of one provider, and what an attempt at it omits
- ``plan``: the candidates and the policy of one request, inside the client's wall
- ``fallback``: the policies and rules of attempts
- ``most_useful``: the failure that the client receives after several"""
