"""placeholder"""


def markdown(results):
    return str(results.as_dict())
