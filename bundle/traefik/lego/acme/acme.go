// Package acme has the accounts that Traefik keeps.
package acme

// Account is empty.
type Account struct{}

// ExtendedAccount is an account and where it is.
type ExtendedAccount struct {
	Account
	Location string
}
