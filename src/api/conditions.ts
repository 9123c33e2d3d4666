import type { Reason } from './reasons.ts';

/** What one type of condition says. The reference documentation is made from it. */
export interface ConditionFacts {
  /** What True means. */
  readonly meaning: string;
  /** The reasons of its own, by status. */
  readonly reasons: Readonly<Partial<Record<'True' | 'False' | 'Unknown', readonly Reason[]>>>;
  /** The conditions whose status and reason it takes over, the first that is not True. */
  readonly follows?: readonly string[];
}

/** Problems that trying again cannot solve: kstatus calls them Stalled. */
export const STALLED: ReadonlySet<Reason> = new Set<Reason>([
  'InvalidSpec',
  'ConnectionNotFound',
  'NamespaceNotAllowed',
  'IdNotAllowed',
  'IdTaken',
  'StaticAddressesDenied',
  'AddressNotAllowed',
  'OverridesDenied',
  'ProbePortDenied',
  'UnsupportedField',
  'AdoptionDenied',
  'RefNotPermitted',
  'NotOwned',
  'UsesDiscovery',
  'Observed',
  'Rejected',
  'NameTaken',
  'MemberRefused',
  'OperatorUninstalled',
]);

/** kstatus' two, which every kind has. */
const PROGRESS = {
  Reconciling: {
    meaning: 'Only present while the operator goes on trying by itself.',
    reasons: {},
    follows: ['Ready'],
  },
  Stalled: {
    meaning: 'Only present while nothing but a change of some object helps.',
    reasons: {},
    follows: ['Ready'],
  },
} as const satisfies Record<string, ConditionFacts>;

/** Every type of condition of every kind, in the order in which they stand in an object. */
export const CONDITIONS = {
  GatewayUpstream: {
    Ready: {
      meaning:
        'All three below. With reason `NoReadyEndpoints` or `NoWeight` the gateway has nothing to send traffic to: a workload scaled to zero must not break a delivery pipeline.',
      reasons: {
        True: ['Ready', 'NoReadyEndpoints', 'NoWeight'],
        False: ['PermissionMissing'],
        Unknown: ['Pending', 'OperatorUninstalled'],
      },
      follows: ['Accepted', 'ResolvedRefs', 'Programmed'],
    },
    Accepted: {
      meaning:
        'The spec is valid, the connection allows it, and its gateway knows every field. No outage ever changes this.',
      reasons: {
        True: ['Accepted'],
        False: [
          'InvalidSpec',
          'ConnectionNotFound',
          'NamespaceNotAllowed',
          'IdNotAllowed',
          'IdTaken',
          'StaticAddressesDenied',
          'AddressNotAllowed',
          'OverridesDenied',
          'ProbePortDenied',
          'UnsupportedField',
          'AdoptionDenied',
        ],
        Unknown: ['Pending', 'PermissionMissing'],
      },
    },
    ResolvedRefs: {
      meaning: 'Every backend leads somewhere, and the client certificate is there.',
      reasons: {
        True: ['ResolvedRefs'],
        False: [
          'ServiceNotFound',
          'PortNotFound',
          'UnsupportedProtocol',
          'NodePortMissing',
          'NoClusterIP',
          'NoLoadBalancerAddress',
          'RefNotPermitted',
          'SecretNotFound',
          'StaticAddressesDenied',
          'AddressNotAllowed',
        ],
        Unknown: ['SourceUnavailable', 'Pending', 'PermissionMissing', 'OperatorUninstalled'],
      },
    },
    Programmed: {
      meaning: 'The gateway holds exactly this, by its own answer.',
      reasons: {
        True: ['Programmed'],
        False: [
          'Unauthorized',
          'Rejected',
          'NotOwned',
          'UpstreamNotFound',
          'UsesDiscovery',
          'FinalizerRefused',
          'InUse',
          'Observed',
          'Pending',
        ],
        Unknown: ['GatewayUnavailable', 'Pending', 'PermissionMissing', 'OperatorUninstalled'],
      },
    },
    RemovalHeld: {
      meaning:
        'Only present while [the removal guard](concepts.md#what-is-held) keeps endpoints in the gateway that went away unexplained.',
      reasons: { True: ['RemovalHeld'] },
    },
    ...PROGRESS,
  },
  GatewayConnection: {
    Ready: {
      meaning: 'Both below.',
      reasons: {
        True: ['Ready'],
        False: [
          'PermissionMissing',
          'InUse',
          'FinalizerRefused',
          'InvalidSpec',
          'SecretNotFound',
          'ListTooLarge',
        ],
        Unknown: ['Pending', 'OperatorUninstalled'],
      },
      follows: ['Reachable', 'Authorized'],
    },
    Reachable: {
      meaning: 'The gateway answers.',
      reasons: {
        True: ['Reachable'],
        False: ['GatewayUnavailable'],
        Unknown: ['InvalidSpec', 'SecretNotFound', 'Pending', 'OperatorUninstalled'],
      },
    },
    Authorized: {
      meaning: 'The gateway takes the key, for writing too.',
      reasons: {
        True: ['Authorized'],
        False: ['Unauthorized'],
        Unknown: ['GatewayUnavailable', 'InvalidSpec', 'SecretNotFound', 'Pending', 'OperatorUninstalled'],
      },
    },
    ...PROGRESS,
  },
  GatewayUpstreamSet: {
    Ready: {
      meaning:
        'There is a GatewayUpstream, as the set wants it, for every port of every Service that matches. Whether these are Ready themselves they say themselves.',
      reasons: {
        True: ['Ready'],
        False: ['PermissionMissing', 'InvalidSpec', 'NameTaken', 'MemberRefused'],
        Unknown: ['Pending', 'OperatorUninstalled'],
      },
    },
    PruningHeld: {
      meaning:
        'Only present while [more GatewayUpstreams than allowed](sets.md#pruning) would be deleted at once, and nobody has accepted that.',
      reasons: { True: ['PruningHeld'] },
    },
    ...PROGRESS,
  },
} as const satisfies Record<string, Record<string, ConditionFacts>>;

/** Reasons that only metrics have. */
export const METRIC_REASONS: readonly Reason[] = ['InternalError'];

/** Reasons that only Events have. */
export const EVENT_REASONS: readonly Reason[] = ['Repaired', 'Adopted', 'Orphaned', 'Deleted'];
