# %% [markdown]
# # ganatomy in forty lines
#
# Train two GANs on digits that come with the package, look at them, measure them, and compare them.
# Then use your own images, networks and loss. On two CPU cores this takes about five minutes.

# %%
import torch
from torch import nn

import ganatomy as gan

run = gan.train("mnist-fast", "runs/tutorial/fast", dataset="mnist10k", steps=1000)
run.show()

# %% [markdown]
# Every value comes with its 95 % interval and the score of held-out real images.

# %%
run.evaluate(protocol="classifier-2k")

# %% [markdown]
# A GAN that fails is named. This one has a learning rate of the generator that is far too high.

# %%
broken = gan.train("mnist-fast", "runs/tutorial/broken", dataset="mnist10k", steps=200, lr_g=0.05)
broken.diagnose()

# %%
gan.compare([run, broken]).save("runs/tutorial/compare.html")


# %% [markdown]
# Your own images: a torch `Dataset`, a tensor, an array, or a folder.


# %%
class Stripes(torch.utils.data.Dataset):
    def __len__(self):
        return 512

    def __getitem__(self, i):
        image = torch.zeros(1, 28, 28)
        image[:, i % 28] = 1.0
        return image, i % 2


stripes = gan.train("mnist-fast", "runs/tutorial/stripes", data=Stripes(), steps=50)
stripes.show()


# %% [markdown]
# Your own networks and loss: two functions and a pair of formulas.


# %%
def networks(shape, z_dim):
    g = nn.Sequential(nn.Linear(z_dim, 784), nn.Tanh(), nn.Unflatten(1, shape))
    return g, nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 1))


loss = gan.Loss(
    d=lambda real, fake, labels: ((real - 1).square().mean(), fake.square().mean()),
    g=lambda real, fake: (fake - 1).square().mean(),
)
recipe = gan.Recipe.of(dataset="mnist10k", steps=200)
own = gan.train(recipe, "runs/tutorial/own", networks=networks, loss=loss)
own.show()
