from .conv import Conv as Conv
from .gru import GRU as GRU
from .mlp import MLP as MLP
from .resnet import ResNet as ResNet
from .shapes import make_network as make_network
