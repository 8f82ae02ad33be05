// Package types has the fields of machines that Traefik reads.
package types

// InstanceStateName is the state of a machine.
type InstanceStateName string

// The states that Traefik knows.
const InstanceStateNameRunning InstanceStateName = "running"

// InstanceState is the state of a machine.
type InstanceState struct{ Name InstanceStateName }

// Instance is a machine.
type Instance struct {
	InstanceId, PrivateIpAddress *string //nolint:revive // as they are called there
	State                        *InstanceState
}

// Reservation is machines that were asked for together.
type Reservation struct{ Instances []Instance }
