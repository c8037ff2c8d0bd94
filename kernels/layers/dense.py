"""What a dense layer does besides its matrix products: bias, activation, derivative, bias gradient.

The layer computes y_OB = f(w_OI x_IB + b_O): I input units, O output units, B minibatch. Its products
are those of `products`. dx stands for the derivative of the loss by x, for any x.
"""

import numpy as np

from kernels.deferred import prange
from kernels.jit import parallel_kernel
from kernels.layers.activations import activate_row, differentiate_row

_Array = np.ndarray


@parallel_kernel
def bias_activation(z_OB: _Array, b_O: _Array, code: int) -> None:
    """Overwrite z with f(z + b).

    Local.

    Parameters
    ----------
    z_OB : float array (O, B)
        In: the product w x. Out: the activations y.
    b_O : float array (O,)
        Bias of each unit.
    code : int
        Activation f, one of `kernels.layers.activations.CODES`.

    Notes
    -----
    y = f(z + b); source: section 3 of the paper leaves f to the user. NaN stays NaN.
    """
    for o in prange(z_OB.shape[0]):
        activate_row(z_OB, o, b_O[o], code)


@parallel_kernel
def bias_activation_sum(z_OB: _Array, extra_OB: _Array, b_O: _Array, code: int) -> None:
    """Overwrite z with f(z + extra + b).

    Local.

    Parameters
    ----------
    z_OB : float array (O, B)
        In: the product with the inputs held here. Out: the activations y.
    extra_OB : float array (O, B)
        The product with inputs received from another partition.
    b_O : float array (O,)
        Bias of each unit.
    code : int
        Activation f, one of `kernels.layers.activations.CODES`.
    """
    for o in prange(z_OB.shape[0]):
        for b in range(z_OB.shape[1]):
            z_OB[o, b] += extra_OB[o, b]
        activate_row(z_OB, o, b_O[o], code)


@parallel_kernel
def activation_backward(dy_OB: _Array, y_OB: _Array, db_O: _Array, code: int) -> None:
    """Overwrite dy with dz = dy f'(z), and db with the sum of dz over the minibatch.

    Local.

    Parameters
    ----------
    dy_OB : float array (O, B)
        In: derivative of the loss by y. Out: by z.
    y_OB : float array (O, B)
        Activations of the forward pass.
    db_O : float array (O,)
        Out: gradient of the bias.
    code : int
        Activation f, one of `kernels.layers.activations.CODES`.

    Notes
    -----
    f' by y: identity 1, sigmoid y (1 - y), tanh 1 - y^2, relu 1 where y > 0.
    """
    for o in prange(y_OB.shape[0]):
        db_O[o] = differentiate_row(dy_OB, y_OB, o, code)


@parallel_kernel
def row_sums(dy_OB: _Array, db_O: _Array) -> None:
    """Overwrite db with the sums of dy over the minibatch.

    Local.

    Parameters
    ----------
    dy_OB : float array (O, B)
        Derivatives of the loss.
    db_O : float array (O,)
        Out: the sum of each row.
    """
    for o in prange(dy_OB.shape[0]):
        total = dy_OB.dtype.type(0)
        for b in range(dy_OB.shape[1]):
            total += dy_OB[o, b]
        db_O[o] = total


@parallel_kernel
def accumulate(y_OB: _Array, x_OB: _Array) -> None:
    """Add x to y in place.

    Local.

    Parameters
    ----------
    y_OB, x_OB : float array (O, B)
        Of one shape; y is overwritten with y + x.
    """
    for o in prange(y_OB.shape[0]):
        for b in range(y_OB.shape[1]):
            y_OB[o, b] += x_OB[o, b]
