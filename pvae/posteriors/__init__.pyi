from .diagonal_normal import DiagonalNormal as DiagonalNormal
