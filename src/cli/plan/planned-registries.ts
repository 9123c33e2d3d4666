import type { Evaluated } from '../../decide/build-desired.ts';
import { compareText } from '../../model/keys.ts';
import type { PlannedRegistry } from './planned.ts';
import type { RegistryAnswers } from './registry-answers.ts';

/** The part of a plan about registries, sorted by name. */
export function plannedRegistries(registries: RegistryAnswers | undefined): readonly PlannedRegistry[] {
  return [...(registries?.asked ?? [])]
    .map(([registry, answers]): PlannedRegistry => {
      const [first, ...others] = answers.flatMap(({ found }) =>
        found.state === 'unknown' ? [found.message] : [],
      );
      if (first === undefined) return { registry, known: true };
      const more =
        others.length === 0 ? '' : ` (and ${others.length} more of the ${answers.length} services in use)`;
      return { registry, known: false, message: `${first}${more}` };
    })
    .sort((a, b) => compareText(a.registry, b.registry));
}

/** The registries without a complete answer on which the nodes depend. */
export function missingRegistries(
  { accepted, backends }: Evaluated,
  registries: RegistryAnswers | undefined,
): readonly string[] {
  // An object that is not accepted has no nodes, whatever its registries answer.
  if (accepted.status !== 'True' || registries === undefined) return [];
  const missing = backends.flatMap(({ target }) =>
    target.kind === 'registry' && registries.isMissing(target.ref) ? [target.ref.registry] : [],
  );
  return [...new Set(missing)];
}
