// Package ec2 finds no machines: tests have none in that cloud, and its client takes minutes to build.
package ec2

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Client finds nothing.
type Client struct{}

// NewFromConfig makes a client.
func NewFromConfig(aws.Config) *Client { return &Client{} }

// DescribeInstancesInput says what to find.
type DescribeInstancesInput struct{ InstanceIds []string }

// DescribeInstancesOutput is what is found.
type DescribeInstancesOutput struct{ Reservations []types.Reservation }

// DescribeInstancesPaginator finds nothing, page by page.
type DescribeInstancesPaginator struct{}

// NewDescribeInstancesPaginator makes one.
func NewDescribeInstancesPaginator(*Client, *DescribeInstancesInput) *DescribeInstancesPaginator {
	return &DescribeInstancesPaginator{}
}

// HasMorePages reports that there are none.
func (*DescribeInstancesPaginator) HasMorePages() bool { return false }

// NextPage is never asked for.
func (*DescribeInstancesPaginator) NextPage(context.Context) (*DescribeInstancesOutput, error) {
	return nil, errors.ErrUnsupported
}
