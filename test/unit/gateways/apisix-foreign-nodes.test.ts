import { describe, expect, it } from 'vitest';
import { canonicalForm, toObserved } from '../../../src/gateways/apisix/translate.ts';

/** The operator may write observed nodes back, so a node that it reads wrongly would lose its traffic. */
describe('nodes that another client wrote', () => {
  it.each([
    ['an IPv6 address without brackets and port', { '2001:db8::1': 1 }, '2001:db8::1', 80],
    ['an IPv6 address in brackets', { '[2001:db8::1]': 1 }, '2001:db8::1', 80],
    ['an IPv6 address with a port', { '[2001:db8::1]:81': 1 }, '2001:db8::1', 81],
    ['a name', { 'a.example': 1 }, 'a.example', 80],
  ])('are read from an object with %s', (_, nodes, host, port) => {
    expect(toObserved('u', { nodes }).nodes).toEqual([{ host, port, weight: 1, priority: 0 }]);
  });

  it.each([
    [undefined, 80],
    ['http', 80],
    ['https', 443],
    ['grpc', 80],
    ['grpcs', 443],
  ])('without a port use the default port of scheme %s', (scheme, port) => {
    const { nodes } = toObserved('u', { scheme, nodes: [{ host: 'a', weight: 1 }] });
    expect(nodes).toEqual([{ host: 'a', port, weight: 1, priority: 0 }]);
  });

  it.each([
    ['10.0.0.1', '[10.0.0.1]'],
    ['a.example', '[a.example]'],
  ])('count as drift if only brackets around %s differ', (host, bracketed) => {
    const of = (name: string) => canonicalForm({ nodes: [{ host: name, port: 80, weight: 1 }] });
    expect(of(bracketed)).not.toBe(of(host));
    expect(toObserved('u', { nodes: [{ host: bracketed, weight: 1 }] }).nodes[0]?.host).toBe(bracketed);
  });
});
