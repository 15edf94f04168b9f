"""What is measured are the programs' own problems."""

import pytest

from benchmarks import command, programs, step

SMALL = {"batch_size": 4, "test_images": 4, "width": 4}


def test_ordinary_training_comes_first_and_networks_have_the_methods_that_have_a_train_script():
    cnn6, resnet = programs.methods("cnn6"), programs.methods("resnet-16-2")
    assert list(cnn6) == ["ordinary", "opt_cp", "opt_gs", "opt_hr", "opt_ls", "opt_ogd", "opt_or", "sopt_gs"]
    assert list(resnet) == ["sgd", "sgdg", "adamg"]
    with pytest.raises(ValueError, match="--networks: 'lenet' is unknown"):
        programs.methods("lenet")


def test_a_training_steps_and_evaluates():
    training = programs.Training(programs.Job("cnn6", "ordinary", **SMALL), evaluation=True)
    training.step()
    training.data()
    training.check()
    assert training.evaluate().error <= 1.0
    assert training.memory() > 0 and training.nodes > 500
    training.close()


@pytest.mark.slow
def test_gram_schmidt_and_lowdin_take_less_memory_than_twelve_matrices_a_layer():
    """At a small batch, too: 1.3 times ordinary training plus 12 n^2 floats for each layer."""
    used = {}
    for method in ("ordinary", "opt_gs", "opt_ls"):
        training = programs.Training(programs.Job("cnn6", method, batch_size=32, test_images=4))
        training.step()
        used[method] = training.memory()
        floats = 12 * sum(n * n for n in (27, 576, 576, 576, 576, 576, 1024))
        assert used[method] <= 1.3 * used["ordinary"] + 4 * floats / 2.0**20, method
        training.close()
    assert used["ordinary"] < min(used["opt_gs"], used["opt_ls"])


def test_resnet_has_the_published_flags():
    program, settings = programs.program_of(programs.Job("resnet-16-2", "adamg"))
    assert (settings.depth, settings.widen_factor, settings.optimizer) == (16, 2, "adamg")
    assert (settings.grassmann, settings.learnRate, settings.learnRateG, settings.omega) == (True, 0.01, 0.05, 0.1)
    assert settings.batch_size == 128 and program.steps(settings, programs.dataset(4, 128, 0)) > 0


def test_an_option_that_the_programs_do_not_have_is_an_error():
    with pytest.raises(ValueError, match="--speed=high: these programs have no such flag"):
        programs.program_of(programs.Job("cnn6", "opt_cp", options=(("speed", "high"),)))


def test_options_are_passed_where_they_differ_from_the_defaults():
    def options(**flags):
        return step.jobs(step.Settings(networks="cnn6", methods="ordinary", **flags))["cnn6"][0].options

    assert options() == ()
    assert options(xla=True, precision="bfloat16") == (("xla", True), ("precision", "bfloat16"))


def test_ordinary_training_is_always_there():
    jobs = step.jobs(step.Settings(networks="cnn6,resnet-16-2", methods="opt_ls,adamg"))
    assert [job.method for job in jobs["cnn6"]] == ["ordinary", "opt_ls"]
    assert [job.method for job in jobs["resnet-16-2"]] == ["sgd", "adamg"]


def test_names_and_groups_are_chosen_in_their_own_order():
    names = {"a": "first", "b": "second", "c": "first"}
    assert command.chosen("maps", "c,b", names) == ["b", "c"]
    assert command.chosen("maps", "first", names) == ["a", "c"]
    assert command.chosen("maps", "all", names) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="--maps: 'd' is unknown, expected some of all, first, second, a, b, c"):
        command.chosen("maps", "d", names)
