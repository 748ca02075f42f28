"""How much is measured."""

from gateway.bench.plan import FULL, QUICK


def test_fewer_sockets_make_every_scenario_smaller() -> None:
    plan = FULL.with_sockets(50)

    assert plan.crowd_sockets == plan.fan_out_sockets == plan.connect_sockets == 50
    assert (plan.channels, plan.row_outstanding) == (50, 10)


def test_more_sockets_make_only_the_crowd_bigger() -> None:
    plan = QUICK.with_sockets(9000)

    assert plan.crowd_sockets == 9000
    assert plan.fan_out_sockets == QUICK.fan_out_sockets
