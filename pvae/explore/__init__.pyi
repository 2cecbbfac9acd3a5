from .explorer import Explorer as Explorer
from .server import serve as serve
from .static_page import write_page as write_page
