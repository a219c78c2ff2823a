// What can go wrong on the way to a connection or a listening socket, as values.

/** Why there is no connection. `reason` is a sentence for a person. */
export type DialFailure =
  /** Nobody listens there, or the address cannot be reached. `code` as the system says it. */
  | {
      readonly kind: 'unreachable'
      readonly url: string
      readonly code: string
      readonly reason: string
    }
  /** It listens and will not have us: another mesh, another version, a copied identity. */
  | {
      readonly kind: 'refused'
      readonly url: string
      readonly reason: string
      /** A manager says that this member was taken out of the mesh. */
      readonly isExpelled?: true
    }
  /** It could not prove to be of our mesh; nothing was told to it. */
  | { readonly kind: 'stranger'; readonly url: string; readonly reason: string }
  | {
      readonly kind: 'timeout'
      readonly url: string
      readonly afterMs: number
      readonly reason: string
    }
  | { readonly kind: 'aborted'; readonly url: string; readonly reason: string }

/** Why a node cannot listen. */
export type ListenFailure =
  | { readonly kind: 'port-in-use'; readonly address: string; readonly reason: string }
  | { readonly kind: 'cannot-listen'; readonly address: string; readonly reason: string }
