import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ConfigError, parseConfig } from '../../src/config/config.ts';

/** The error message for a configuration file with this content. */
function complaint(yaml: string): string {
  try {
    parseConfig(parse(yaml), 'operator.yaml');
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return '';
}

const DURATION = 'must be a duration: numbers with a unit (ms, s, m, h), for example 500ms, 30s or 1m30s';

describe('an invalid configuration is rejected with the key and the expected value', () => {
  it.each([
    ['- kubeconfig: a', '(top level): must be a mapping of keys to values, not a list'],
    ['run', '(top level): must be a mapping of keys to values, not "run"'],
    [
      'logLevels: info',
      '(top level): unknown key logLevels: expected one of kubeconfig, operatorNamespace, ',
    ],
    ['loglevel: info', '(top level): unknown key loglevel: expected one of kubeconfig, operatorNamespace, '],
    ['kubeconfig:', 'kubeconfig: must be a string, not empty'],
    ['kubeconfig: ""', 'kubeconfig: must not be empty'],
    ['kubeconfig: [a]', 'kubeconfig: must be a string, not a list'],
    [
      'operatorNamespace: Gateway',
      'operatorNamespace: must be a namespace name: at most 63 lowercase letters, digits and "-", for example default',
    ],
    ['operatorNamespace: 7', 'operatorNamespace: must be a string, not 7'],
    [`operatorNamespace: ${'a'.repeat(64)}`, 'operatorNamespace: must be a namespace name: at most 63'],
    ['clusterId: my cluster', 'clusterId: must be 1 to 64 characters without spaces'],
    ['clusterId: ""', 'clusterId: must be 1 to 64 characters without spaces'],
    ['logLevel: verbose', 'logLevel: must be one of trace, debug, info, warn, error, not "verbose"'],
    ['logLevel: INFO', 'logLevel: must be one of trace, debug, info, warn, error, not "INFO"'],
    ['logLevel:', 'logLevel: must be one of trace, debug, info, warn, error, not empty'],
    ['resyncInterval: 10', `resyncInterval: ${DURATION}`],
    ['resyncInterval: 10 minutes', `resyncInterval: ${DURATION}`],
    ['resyncInterval: -1s', `resyncInterval: ${DURATION}`],
    ['resyncInterval: 0s', 'resyncInterval: must be from 1s to 24h'],
    ['resyncInterval: 25h', 'resyncInterval: must be from 1s to 24h'],
    ['requestTimeout: 5', `requestTimeout: ${DURATION}`],
    ['requestTimeout: 1ms', 'requestTimeout: must be from 100ms to 24h'],
    ['namespaces: default', 'namespaces: must be a list, not "default"'],
    ['namespaces: [default, "team-*"]', 'namespaces.1: must be a namespace name'],
    [
      `namespaces: [${Array.from({ length: 65 }, (_, index) => `n${index}`).join()}]`,
      'namespaces: must have at most 64 entries',
    ],
    ['secretNamespaces: shop', 'secretNamespaces: must be a list, not "shop"'],
    ['secretNamespaces: ["*"]', 'secretNamespaces.0: must be a namespace name'],
    ['secretNamespaces: [a, a]', 'secretNamespaces: must not contain a namespace twice'],
    [
      'namespaces: [a]\nsecretNamespaces: [a, b]',
      'secretNamespaces: must contain only namespaces that are also in namespaces, because the operator watches no others',
    ],
    ['leaderElection: false', 'leaderElection: must be a mapping of keys to values, not false'],
    ['leaderElection: { enabled: "false" }', 'leaderElection.enabled: must be true or false, without quotes'],
    [
      'leaderElection: { lease: a }',
      'leaderElection: unknown key lease: expected one of enabled, leaseName, ',
    ],
    ['leaderElection: { leaseName: a/b }', 'leaderElection.leaseName: must be a Lease name'],
    ['leaderElection: { retryPeriod: 2 }', `leaderElection.retryPeriod: ${DURATION}`],
    [
      'leaderElection: { leaseDuration: 12s }',
      'leaderElection.leaseDuration: must be longer than renewDeadline plus requestTimeout',
    ],
    [
      'requestTimeout: 10s',
      'leaderElection.leaseDuration: must be longer than renewDeadline plus requestTimeout',
    ],
    [
      'leaderElection: { retryPeriod: 5s }',
      'leaderElection.renewDeadline: must be at least twice retryPeriod',
    ],
    ['statusConcurrency: 0', 'statusConcurrency: must be at least 1, not 0'],
    ['statusConcurrency: 65', 'statusConcurrency: must be at most 64, not 65'],
    ['statusConcurrency: 1.5', 'statusConcurrency: must be an integer, not 1.5'],
    ['statusConcurrency: "8"', 'statusConcurrency: must be a number without quotes, not "8"'],
    ['ops: 8080', 'ops: must be a mapping of keys to values, not 8080'],
    ['ops: { port: 65536 }', 'ops.port: must be a port number from 0 to 65535'],
    ['ops: { port: "65536" }', 'ops.port: must be a port number from 0 to 65535'],
    ['ops: { port: http }', 'ops.port: must be a port number from 0 to 65535'],
    ['ops: { host: "http://0.0.0.0" }', 'ops.host: must be an IP address or a host name without scheme'],
    ['ops: { adress: 0.0.0.0 }', 'ops: unknown key adress: expected one of host, port'],
  ])('%s', (yaml, says) => {
    const message = complaint(yaml);
    expect(message).toContain(`operator.yaml is not valid:\n  ${says}`);
    expect(message).not.toMatch(/invalid|zod|undefined|expected (string|number|int|array|object)/i);
    expect(message.split('\n')).toHaveLength(2);
  });

  it('names every wrong key at once', () => {
    expect(complaint('logLevel: loud\nops: { port: -1 }\nstatusConcurrency: many').split('\n')).toEqual([
      'operator.yaml is not valid:',
      '  logLevel: must be one of trace, debug, info, warn, error, not "loud"',
      '  statusConcurrency: must be a number without quotes, not "many"',
      '  ops.port: must be a port number from 0 to 65535',
    ]);
  });

  it('truncates a long value', () => {
    expect(complaint(`logLevel: ${'a'.repeat(10_000)}`).length).toBeLessThan(250);
  });
});

describe('a valid configuration is accepted', () => {
  it.each([
    ['{}', 'resyncInterval', 600_000],
    ['resyncInterval: 1m30.5s', 'resyncInterval', 90_500],
    ['resyncInterval: 24h', 'resyncInterval', 86_400_000],
    ['requestTimeout: 100ms', 'requestTimeout', 100],
    ['ops: { port: "6443" }', 'ops', { port: 6443, debugState: false }],
    ['ops: { port: 0, host: "::1" }', 'ops', { host: '::1', port: 0, debugState: false }],
    ['namespaces: [a, b-1]', 'namespaces', ['a', 'b-1']],
    ['secretNamespaces: [a, b-1]', 'secretNamespaces', ['a', 'b-1']],
    ['namespaces: [a, b]\nsecretNamespaces: [b]', 'secretNamespaces', ['b']],
    ['clusterId: production-eu', 'clusterId', 'production-eu'],
  ] as const)('%s', (yaml, key, value) => {
    expect(parseConfig(parse(yaml), 'operator.yaml')[key]).toEqual(value);
  });

  it('with a lease shorter than a request, if leader election is off', () => {
    expect(complaint('requestTimeout: 1m\nleaderElection: { enabled: false }')).toBe('');
  });
});
