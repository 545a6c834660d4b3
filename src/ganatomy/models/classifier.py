"""Networks of classifiers: images to features and logits."""

import math

from torch import Tensor, nn

FEATURES = 64
"""Width of the last hidden layer: the dimension of the feature space."""


class Classifier(nn.Module):
    """Images (N, C, H, W) in [-1, 1] to features (N, FEATURES) and logits (N, classes)."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits."""
        features = self.body(x)
        return features, self.head(features)


def conv(shape: tuple[int, ...], classes: int) -> Classifier:
    """Five 3 x 3 convolutions with batch norm, average pooling; 147,626 weights for MNIST."""
    layers: list[nn.Module] = []
    before = shape[0]
    for width, stride in ((32, 1), (32, 2), (64, 1), (64, 2), (128, 1)):
        layers += [
            nn.Conv2d(before, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        before = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, FEATURES)]
    return Classifier(
        nn.Sequential(*layers), nn.Sequential(nn.ReLU(), nn.Linear(FEATURES, classes))
    )


def mlp(shape: tuple[int, ...], classes: int) -> Classifier:
    """Two hidden layers with ReLU, as in the report on DCGAN's capacity, which states no sizes."""
    body = nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 128),
        nn.ReLU(),
        nn.Linear(128, FEATURES),
        nn.ReLU(),
    )
    return Classifier(body, nn.Linear(FEATURES, classes))
