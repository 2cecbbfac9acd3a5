import pytest

from pvae.cli.commands import COMMANDS
from pvae.cli.main import main
from pvae.cli.parser_errors import as_options

MANY = "choose what pvae train --scheduler.help lists, or the import path of a class of your own."
REFUSED = {
    # Unknown names: the nearest one is suggested.
    "trian": "There is no command 'trian' (did you mean train?): choose train, evaluate,",
    "--trust x": "A command is missing: choose train,",
    "train --latent-dim 3": "has no option --latent-dim (did you mean --latent_dim?): pvae",
    "train --epoch 3": "has no option --epoch (did you mean --epochs?)",
    "train -e 3": "pvae train has no option -e: pvae train --help lists the options.",
    "train digits": "takes no further argument 'digits': options begin with --; data are named by "
    "--data digits.",
    "evaluate": "pvae evaluate needs the run folder: pvae evaluate RUN.",
    "evaluate --run r": "The run folder is given without an option: pvae evaluate RUN.",
    "evaluate r --config c": "pvae evaluate has no option --config: ",
    "train --epochs": "--epochs needs a value after it.",
    "train --prior normall": "--prior: there is no normall (did you mean Normal?); choose Autoreg",
    "train --prior.help Normall": "--prior: there is no Normall (did you mean Normal?); choose",
    "train --prior pvae.priors.Normall": "there is no pvae.priors.Normall (did you mean Normal?)",
    "train --scheduler steplr": f"there is no steplr (did you mean StepLR?); {MANY}",
    "train --prior my.thing": "--prior my.thing: there is no module my; give the import path",
    "train --prior Mixture --prior.component 5": "--prior Mixture has no option --prior.component "
    "(did you mean --prior.components?).",
    "train --prior.components 5": "Autoregressive, Mixture, VampPrior has it: choose by --prior.",
    "train --likelihood.x 5": "its options: --likelihood.network, --likelihood.relaxed.",
    "train --optimizer.momentums 1": "pvae train --optimizer.help torch.optim.Adam lists the",
    "train --scheduler StepLR": "--scheduler StepLR needs --scheduler.step_size as well.",
    "compare --study s --epoch 3": "has no option --epoch (did you mean --epochs?)",
    "compare --study s --seed 3": "has no option --seed (did you mean --seeds?)",
    # Values.
    "compare --study s --vary 3": "of an option, such as --vary.prior '[StandardNormal, Flow]'.",
    "train --epochs 1 --epochs x": "--epochs is x: it must be a whole number.",
    "train --epochs 1.5": "--epochs is 1.5: it must be a whole number.",
    "train --patience off": "--patience is off: it must be a whole number, null or auto.",
    "train --crop maybe": "--crop is maybe: it must be true or false.",
    "train --binarization dynamc": "--binarization is dynamc (did you mean dynamic?): it must be "
    "dynamic, static or threshold.",
    "evaluate r --estimator AIS": "(did you mean ais?): it must be all, elbo, importance or ais.",
    "train --size 28,28": "a whole number or a list such as [28,20]; write --size [28,28].",
    "train --conditional likelihood": "; write --conditional [likelihood].",
    "train --network.hidden 400": "--network.hidden is 400: it must be a list such as [8,4]; write "
    "--network.hidden [400].",
    "train --network.hidden [8,a]": "is [8,a]: each of its values must be a whole number.",
    "train --optimizer.lr fast": "--optimizer.lr is fast: it must be a number.",
    "train --likelihood Gaussian --likelihood.scale learnt": "--likelihood.scale is learnt (did "
    "you mean learned?): it must be a number, learned, element, predicted or optimal.",
    "train --objective Denoising --objective.objective BetaELBO --objective.objective.beta x": "--"
    "objective.objective.beta is x: it must be a number.",
    # Errors of the package, in terms of options.
    "train --clip_norm 0": "--clip_norm is 0.0: it must be a positive number, or null.",
    "train --seed -99999999999999999999": "--seed is -99999999999999999999: it must be a whole",
    "train --device gpu": "use --device cpu or 'auto'.",
    "train --optimizer.lr -1": "give one such as --optimizer Adam --optimizer.lr 1e-3.",
    "train --network.hidden [0]": "--network.hidden is (0,): ",
    "train --labels l.npy": "--labels does not apply to a data set by name",
    "train --scheduler None --prior None --epochs 0": "--prior: there is no None; choose",
    "train --patience None --scheduler None --epochs 0": "--epochs is 0: ",
    "train --validation 5000": "A validation part of 5,000 and a test part of 180 leave none",
}


@pytest.mark.parametrize("line", REFUSED)
def test_errors_are_in_terms_of_the_options(line, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as raised:
        main(line.split())
    said = capsys.readouterr().err
    assert raised.value.code == 2
    assert REFUSED[line] in said
    assert said.count("\n") == 1
    assert len(said) <= 301
    jargon = "Parser|subclass|Literal|NoneType|class_path|Union|expected one|Namespace|typing"
    assert not any(word in said for word in jargon.split("|"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "content", "said"),
    [
        ("train", "epochz: 3", "has an entry epochz, which is no option of pvae train (did you m"),
        ("compare --study s", "prioor: Flow", "no option of pvae compare (did you mean prior?)"),
        (
            "compare --study s",
            "base: {epochs: 3}",
            "an entry base, which is no option of pvae compare",
        ),
    ],
)
def test_an_unknown_entry_of_a_configuration(command, content, said, capsys, tmp_path):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(SystemExit) as raised:
        main([*command.split(), "--config", str(tmp_path / "config.yaml")])
    assert raised.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("use device='cpu' or None", "use --device cpu or null"),
        (
            "load the data with validation= a fraction.",
            "load the data with --validation a fraction.",
        ),
        ("Bernoulli(relaxed=True) is no density", "Bernoulli(relaxed=True) is no density"),
        ("train with relaxed=False.", "train with --likelihood.relaxed false."),
        ("functools.partial(torch.optim.SGD, lr=0.1)", "--optimizer SGD --optimizer.lr 0.1"),
        ("hidden is (0,)", "--network.hidden is (0,)"),
        ("There is no file None.npy.", "There is no file None.npy."),
        ("the mean of x=3 is unknown", "the mean of x=3 is unknown"),
    ],
)
def test_arguments_are_written_as_options(sentence, said):
    commands = {command.__name__: command for command in COMMANDS}
    assert as_options(sentence, ["train", "--network.hidden", "[0]"], commands) == said
