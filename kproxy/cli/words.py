"""Commands that run another command: their own options may stand before its place or after it."""

from __future__ import annotations

import click


class RunsWords(click.Command):
    """A command with the arguments PLACE and COMMAND..., as `exec POD -n shop -- COMMAND`.

    Between PLACE and `--` are options of its own, as kubectl takes them there, unless COMMAND
    begins before `--`: then all after PLACE are words of COMMAND.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            ctx.allow_interspersed_args = self._has_no_command(ctx, args[: args.index("--")])
        return super().parse_args(ctx, args)

    def _has_no_command(self, ctx: click.Context, args: list[str]) -> bool:
        ctx.allow_interspersed_args = True
        try:
            given, _, _ = self.make_parser(ctx).parse_args(args)
        except click.UsageError:  # of an option without its value, which may be one of COMMAND
            return False
        words = given.get(str(self.params[-1].name))  # no sequence if there are none
        return not (isinstance(words, list | tuple) and words)
