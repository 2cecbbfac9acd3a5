from .conv import Conv as Conv
from .mlp import MLP as MLP
from .resnet import ResNet as ResNet
from .shapes import make_network as make_network
