"""The endpoints over what is stored: ``responses`` and ``conversations``. What they share is in ``answers`` and
``listing``; ``elsewhere`` passes calls about what a provider keeps itself."""
