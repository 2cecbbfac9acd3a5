from .bernoulli import Bernoulli as Bernoulli
from .beta import Beta as Beta
from .binomial import Binomial as Binomial
from .categorical import Categorical as Categorical
from .continuous_bernoulli import ContinuousBernoulli as ContinuousBernoulli
from .discretized_gaussian import DiscretizedGaussian as DiscretizedGaussian
from .discretized_logistic import DiscretizedLogistic as DiscretizedLogistic
from .discretized_logistic_mixture import DiscretizedLogisticMixture as DiscretizedLogisticMixture
from .gamma import Gamma as Gamma
from .gaussian import Gaussian as Gaussian
from .laplace import Laplace as Laplace
from .log_normal import LogNormal as LogNormal
from .logit_normal import LogitNormal as LogitNormal
from .multinomial import Multinomial as Multinomial
from .negative_binomial import NegativeBinomial as NegativeBinomial
from .padded import Padded as Padded
from .poisson import Poisson as Poisson
from .student_t import StudentT as StudentT
from .zero_inflated_negative_binomial import (
    ZeroInflatedNegativeBinomial as ZeroInflatedNegativeBinomial,
)
from .zero_inflated_poisson import ZeroInflatedPoisson as ZeroInflatedPoisson
