// Host book: the nodes of a mesh by host_name, as a hub knows them: those that are connected,
// and for those that went away, since when.

/** Names that went away and are remembered. */
const REMEMBERED = 10_000

/** A host that is not connected. */
export interface Gone<Node> {
  readonly node: Node
  /** When it went away, in Unix milliseconds. */
  readonly sinceMs: number
}

export class HostBook<
  Node extends { readonly hostName: string; readonly nodeId: string },
> {
  readonly #connected = new Map<string, Node>()
  readonly #gone = new Map<string, Gone<Node>>()

  get connected(): Iterable<Node> {
    return this.#connected.values()
  }

  get gone(): Iterable<Gone<Node>> {
    return this.#gone.values()
  }

  /** Exactly of that name, as its users rely on. */
  find(hostName: string): Node | undefined {
    return this.#connected.get(hostName)
  }

  goneOf(hostName: string): Gone<Node> | undefined {
    return this.#gone.get(hostName)
  }

  /** False: another node of that name is connected, and stays what the name means. */
  came(node: Node): boolean {
    const { hostName, nodeId } = node
    const other = this.#connected.get(hostName)
    if (other !== undefined && other.nodeId !== nodeId) return false
    this.#connected.set(hostName, node)
    this.#gone.delete(hostName)
    return true
  }

  /** False: it was not the one that the name means. */
  left(node: Node, sinceMs: number): boolean {
    const { hostName } = node
    if (this.#connected.get(hostName) !== node) return false
    this.#connected.delete(hostName)
    this.#gone.set(hostName, { node, sinceMs })
    const [oldest] = this.#gone.keys()
    if (this.#gone.size > REMEMBERED && oldest !== undefined) this.#gone.delete(oldest)
    return true
  }
}
