from .softmax import Softmax as Softmax
