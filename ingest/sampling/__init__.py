"""From media in time order to clips: one sampler per medium, all push in, completed clips out."""
