import { stringify } from 'yaml';
import { OPERATOR } from '../../../src/api/group.ts';
import { builtInCatalog } from '../../../src/catalog.ts';
import {
  CRDS_ONLY_RULES,
  leaseRules,
  RELEASE_RULES,
  rbacObjects,
  switchedRules,
} from '../../../src/kube/rbac.ts';

interface RoleObject {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly rules?: readonly unknown[];
}

const KINDS = builtInCatalog.followedKinds;
const LEASE_NAME = '{{ .Values.config.leaderElection.leaseName }}';

/** `templates/_rules.tpl` of the chart: the rules of every role, from the same source as `install`. */
export function rulesTemplate(): string {
  const namespace = 'own';
  // The chart adds the rules of switched kinds by itself.
  const everywhere = rbacObjects(KINDS, { namespace, leaseName: LEASE_NAME, watchRegistries: false });
  const alone = rbacObjects(KINDS, { namespace, leaderElection: false });
  const narrow = rbacObjects(KINDS, {
    namespace,
    namespaces: ['one'],
    secretNamespaces: ['one'],
    watchRegistries: false,
  });
  const rules: Readonly<Record<string, readonly unknown[]>> = {
    everywhere: rulesOf(everywhere, 'ClusterRole', OPERATOR),
    own: rulesOf(everywhere, 'Role', OPERATOR),
    ownWithoutLease: rulesOf(alone, 'Role', OPERATOR),
    clusterScoped: rulesOf(narrow, 'ClusterRole', OPERATOR),
    namespace: rulesOf(narrow, 'Role', `${OPERATOR}-namespace`),
    secrets: rulesOf(narrow, 'Role', `${OPERATOR}-secrets`),
    events: rulesOf(narrow, 'Role', `${OPERATOR}-events`),
    crds: CRDS_ONLY_RULES,
    nodes: switchedRules(KINDS, 'watchNodes'),
    registries: switchedRules(KINDS, 'watchRegistries'),
    endpoints: switchedRules(KINDS, 'readEndpoints'),
    uninstall: RELEASE_RULES,
    uninstallLease: leaseRules(LEASE_NAME),
  };
  const blocks = Object.entries(rules).map(
    ([name, list]) =>
      `{{- define "${OPERATOR}.rules.${name}" -}}\n${stringify(list, { aliasDuplicateObjects: false, lineWidth: 0 }).trimEnd()}\n{{- end }}\n`,
  );
  return `{{/* Generated from src/kube/rbac.ts by \`npm run generate\`. */}}\n${blocks.join('\n')}`;
}

function rulesOf(objects: readonly object[], kind: string, name: string): readonly unknown[] {
  const found = (objects as readonly RoleObject[]).find(
    (object) => object.kind === kind && object.metadata.name === name,
  );
  if (found?.rules === undefined) throw new Error(`src/kube/rbac.ts makes no ${kind} ${name} with rules`);
  return found.rules;
}
